package config

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzLoad feeds bytes as a configuration: whatever they are, Load says what is
// wrong at places that exist, and does not panic.
func FuzzLoad(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(seeds, "starter/watchbill.yaml", "../../deploy/examples/small/watchbill.yaml") {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add([]byte(crew + secrets))
	f.Add([]byte("a: &a [*a]\n<<: *a\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "watchbill.yaml")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := Load(path, noEnv)
		if err == nil {
			cfg.Warnings.Print(io.Discard)
			_ = cfg.Line("people.0")
			return
		}
		problems := Explain(path, err)
		if len(problems.Errors()) == 0 {
			t.Fatalf("refused without a mistake: %v", problems)
		}
		problems.Print(io.Discard)
		lines := strings.Count(string(content), "\n") + 1
		for _, p := range problems {
			if p.File != path {
				continue
			}
			if p.Line < 0 || p.Line > lines || p.Line > 0 && (p.Col < 1 || p.Col > utf8.RuneCountInString(p.Source)+1) {
				t.Fatalf("%s is outside of the file: %s", p.Position(), p.Message)
			}
		}
	})
}
