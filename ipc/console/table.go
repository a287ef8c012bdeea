package console

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"dispatchd/ipc/terminal"
)

// State is a cell with the name of a state, coloured by it.
type State string

// Table writes rows with aligned columns. Colours take no room in it, which
// text/tabwriter cannot know.
type Table struct {
	Palette Palette
	Width   int // of the terminal, 0 = lines as long as they are
	rows    [][]any
}

// Row adds a row; the first is the head.
func (t *Table) Row(cells ...any) {
	for i, c := range cells {
		if state, ok := c.(State); ok {
			cells[i] = State(terminal.Line(string(state)))
		} else {
			cells[i] = terminal.Sprintf("%v", c)
		}
	}
	t.rows = append(t.rows, cells)
}

// TerminalWidth is how many characters a line of w has, 0 when it is no
// terminal.
func TerminalWidth(w io.Writer) int {
	f := terminal.FileOf(w)
	if f == nil {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Wrap breaks a text of one line so that each line fits into width behind an indent,
// which all but the first get. 0 = as long as it is. A word stays whole.
func Wrap(text string, width, indent int) terminal.Styled {
	text = terminal.Line(text)
	if width <= indent {
		return terminal.Styled(text)
	}
	var b strings.Builder
	used := indent
	for i, word := range strings.Split(text, " ") {
		size := utf8.RuneCountInString(word)
		switch {
		case i > 0 && used+1+size > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			used = indent
		case i > 0:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += size
	}
	return terminal.Styled(b.String())
}

// gap is the room between two columns.
const gap = 2

// WriteTo writes the table. It cuts the last column where a line is longer than
// Width.
func (t *Table) WriteTo(w io.Writer) (int64, error) {
	widths := t.widths()
	var b strings.Builder
	for _, row := range t.rows {
		line, used := "", 0
		for i, cell := range row {
			text := fmt.Sprint(cell)
			size := utf8.RuneCountInString(text)
			switch state, ok := cell.(State); {
			case ok:
				line += string(t.Palette.State(string(state)))
			case i == len(row)-1 && t.Width > 0 && used+size > t.Width && t.Width > used:
				line += string([]rune(text)[:t.Width-used-1]) + "…"
			default:
				line += text
			}
			if i < len(row)-1 {
				line += strings.Repeat(" ", widths[i]-size+gap)
				used += widths[i] + gap
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	written, err := io.WriteString(w, b.String())
	return int64(written), err
}

// widths are those of the columns, by their longest cells.
func (t *Table) widths() []int {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(fmt.Sprint(cell)))
		}
	}
	return widths
}
