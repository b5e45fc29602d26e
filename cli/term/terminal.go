package term

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Width is the number of columns of the terminal behind a stream, and 0 if it
// is no terminal. A terminal that does not tell counts as 80 wide.
func Width(stream any) int {
	f, ok := stream.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}

// Is reports whether the stream is a terminal.
func Is(stream any) bool { return Width(stream) > 0 }

// Confirm asks a yes-or-no question; anything but y or yes is a no. It gives
// io.EOF with the no if the input ended before an answer.
func Confirm(in io.Reader, out io.Writer, question string) (bool, error) {
	fmt.Fprint(out, question)
	line, err := bufio.NewReader(in).ReadString('\n')
	answer := strings.ToLower(strings.TrimSpace(line))
	if answer == "" && err != nil {
		return false, io.EOF
	}
	return answer == "y" || answer == "yes", nil
}

// Ask reads one line.
func Ask(in io.Reader, out io.Writer, question string) (string, error) {
	fmt.Fprint(out, question)
	line, err := readLine(in)
	if err != nil {
		return "", fmt.Errorf("read the answer to %q: %w", strings.TrimSpace(question), err)
	}
	return strings.TrimSpace(line), nil
}

// readLine reads byte by byte, so that nothing behind the line is taken.
func readLine(in io.Reader) (string, error) {
	var line []byte
	one := make([]byte, 1)
	for len(line) < 4096 {
		n, err := in.Read(one)
		if n == 1 {
			if one[0] == '\n' {
				return string(line), nil
			}
			line = append(line, one[0])
			continue
		}
		if err == io.EOF && len(line) > 0 {
			return string(line), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("a line of more than 4096 bytes")
}

// Secret reads one line without showing it; in must be a terminal.
func Secret(in *os.File, out io.Writer, question string) (string, error) {
	fmt.Fprint(out, question)
	secret, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(out)
	if err != nil {
		return "", fmt.Errorf("read the answer to %q: %w", strings.TrimSpace(question), err)
	}
	return string(secret), nil
}
