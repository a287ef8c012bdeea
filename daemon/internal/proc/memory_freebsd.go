package proc

// ReturnProgram does nothing on FreeBSD. Its MADV_DONTNEED lets the system
// decrease the priority of the pages, says madvise(2): they stay in memory, and
// in this process, until memory is short, and then the system takes clean pages
// of a file first without being told. MADV_FREE is for contents that need not
// survive. So no advice there means what Linux's MADV_DONTNEED does.
func ReturnProgram() error { return nil }
