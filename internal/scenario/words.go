package scenario

import (
	"fmt"
	"strings"
)

// word is a word of a line and the column of its first character, from 1.
type word struct {
	text string
	col  int
}

// split cuts a line into words at white space. Single quotes keep everything
// between them, double quotes everything but \" and \\; both may stand inside a
// word: summary="The disk is full".
func split(line string) ([]word, error) {
	var words []word
	var b strings.Builder
	col, inside := 0, false
	runes := []rune(line)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == ' ' || r == '\t':
			if inside {
				words = append(words, word{b.String(), col})
				b.Reset()
				inside = false
			}
			continue
		case !inside:
			inside, col = true, i+1
			fallthrough
		default:
			if r != '"' && r != '\'' {
				b.WriteRune(r)
				continue
			}
			end, err := quoted(runes, i, &b)
			if err != nil {
				return nil, err
			}
			i = end
		}
	}
	if inside {
		words = append(words, word{b.String(), col})
	}
	return words, nil
}

// quoteError is a quote without an end.
type quoteError struct{ col int }

func (e quoteError) Error() string { return fmt.Sprintf("the quote at column %d has no end", e.col) }

// quoted writes what stands between the quote at i and its end, and returns where
// that is.
func quoted(runes []rune, i int, b *strings.Builder) (int, error) {
	open := runes[i]
	for j := i + 1; j < len(runes); j++ {
		switch {
		case runes[j] == open:
			return j, nil
		case open == '"' && runes[j] == '\\' && j+1 < len(runes):
			j++
			b.WriteRune(runes[j])
		default:
			b.WriteRune(runes[j])
		}
	}
	return 0, quoteError{i + 1}
}
