package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkLargeOrganisation loads 2,000 people and 1,000 rosters of three layers.
func BenchmarkLargeOrganisation(b *testing.B) {
	roles := []string{"manager", "deployment", "infrastructure", "security", "support"}
	zones := []string{"Europe/Madrid", "America/New_York", "Asia/Singapore"}
	var s strings.Builder
	s.WriteString("external_url: https://watchbill.example.com\nroles: {preset: operations}\n" +
		"receivers: [{name: push, webhook_configs: [{url: \"https://push.example.com\"}]}]\npeople:\n")
	for i := range 2000 {
		fmt.Fprintf(&s, "  - {name: p%d, roles: [%s], tz: %s, deputy: p%d, contact: [{receiver: push}]}\n", i, roles[i%5], zones[i%3], (i+5)%2000)
	}
	s.WriteString("rosters:\n")
	for i := range 1000 {
		person := func(n int) int { return (i%5 + 5*(i/5*3+n)) % 2000 }
		fmt.Fprintf(&s, "  - role: %s\n    location: l%d\n    tz: %s\n    layers:\n", roles[i%5], i, zones[i%3])
		fmt.Fprintf(&s, "      - {name: day, people: [p%d, p%d], rotation: daily, start: 2027-01-04, on: [{from: \"08:00\", to: \"20:00\"}]}\n", person(0), person(1))
		fmt.Fprintf(&s, "      - {name: night, people: [p%d, p%d, p%d], rotation: 12h, start: 2027-01-04}\n", person(2), person(3), person(4))
		fmt.Fprintf(&s, "      - {name: behind, as: secondary, people: [p%d, p%d], start: 2027-01-04}\n", person(5), person(6))
	}
	path := write(b, map[string]string{"watchbill.yaml": s.String()}) + "/watchbill.yaml"
	for b.Loop() {
		cfg, err := Load(path, nil)
		require.NoError(b, err)
		require.Len(b, cfg.Escalation.Rosters, 1000)
	}
}
