package store

// Room is what a file system has left.
type Room struct {
	Bytes  int64 // that this user may still write
	Size   int64 // of the whole file system
	Inodes int64 // that are left, -1 = it makes them as it needs them
}

// RoomAt asks the file system that a path is on.
func RoomAt(path string) (Room, error) { return roomAt(path) }
