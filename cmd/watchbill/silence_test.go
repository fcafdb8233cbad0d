package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"watchbill"
)

func TestParseMatchers(t *testing.T) {
	t.Parallel()
	got, err := parseMatchers([]string{"DiskFull", "a=x", "b!=y", "c=~z.*", "d!~q", "e="})
	require.NoError(t, err)
	require.Equal(t, []watchbill.Matcher{
		{Name: "alertname", Value: "DiskFull", IsEqual: true},
		{Name: "a", Value: "x", IsEqual: true},
		{Name: "b", Value: "y"},
		{Name: "c", Value: "z.*", IsEqual: true, IsRegex: true},
		{Name: "d", Value: "q", IsRegex: true},
		{Name: "e", IsEqual: true},
	}, got)
	require.Equal(t, "alertname=DiskFull a=x b!=y c=~z.* d!~q e=", matcherTexts(got))
	for _, bad := range []string{"=x", "!=x", "!~x", "=~x"} {
		_, err := parseMatchers([]string{bad})
		require.Error(t, err, bad)
	}
}
