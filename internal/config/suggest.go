package config

import (
	"fmt"
	"slices"
	"strings"
)

// didYouMean advises the known name that is nearest to a mistyped one, else the
// names there are. If there are none, or too many to read, it gives the other
// advice.
func didYouMean(got string, known []string, other string) string {
	const most = 12
	if best := nearest(got, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	switch {
	case len(known) == 0 || len(known) > most && other != "":
		return other
	case len(known) == 1:
		return "use " + known[0]
	}
	return "use one of " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
}

// nearest returns the name with the smallest edit distance to got, and "" if
// all are too far away to have been meant.
func nearest(got string, known []string) string {
	const longest = 64 // nobody mistypes more, and the distance is quadratic
	if got == "" || len(got) > longest {
		return ""
	}
	best, bestDistance := "", max(1, min(3, len(got)/3))+1
	for _, name := range known {
		if len(name) > longest {
			continue
		}
		d := distance(strings.ToLower(got), strings.ToLower(name))
		if d < bestDistance || d == bestDistance && best != "" && name < best {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours that make b of a.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	before, previous, current := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(x); i++ {
		current[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(y)]
}
