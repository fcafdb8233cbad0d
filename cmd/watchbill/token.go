package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/config"
	"watchbill/internal/daemon"
)

func (a *app) token() *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "Make, list and revoke tokens of people and machines",
		Args: noVerb, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.tokenCreate(), a.tokenList(), a.tokenRevoke())
	return c
}

func (a *app) tokenCreate() *cobra.Command {
	var person, out string
	var scopes []string
	var ttl time.Duration
	c := &cobra.Command{
		Use: "create [NAME]", Short: "Make a token and print it once", Args: args(cobra.MaximumNArgs(1)),
		Long: "Make a token in the store that --config names, and print it; it cannot be shown again. The daemon may\n" +
			"run meanwhile. A person's token may do what the responsibility matrix allows that person. A machine's\n" +
			"token may do what its scopes say: alerts (push alerts), metrics (read /metrics), read (read the API),\n" +
			"signals (post signals of services, such as test results).\n" +
			"NAME says what the token is for; a person's may go without.",
		Example: "  watchbill token create --person ana --out ana.token\n  watchbill token create prometheus --scope alerts",
		RunE: func(c *cobra.Command, name []string) error {
			spec := auth.Spec{Person: watchbill.PersonID(person), TTL: ttl, CreatedBy: creator()}
			if len(name) == 1 {
				spec.Name = name[0]
			}
			spec.Name = cmp.Or(spec.Name, person)
			if (person == "") == (len(scopes) == 0) {
				return usageError{errors.New("name either a --person or, for a machine, at least one --scope")}
			}
			for _, s := range scopes {
				scope, err := auth.ParseScope(s)
				if err != nil {
					return usageError{err}
				}
				spec.Scopes = append(spec.Scopes, scope)
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			return a.makeToken(c.Context(), cfg, spec, out)
		},
	}
	f := c.Flags()
	f.StringVar(&person, "person", "", "`NAME` of the person whose token it is, as under people: in the configuration")
	f.StringSliceVar(&scopes, "scope", nil, "`SCOPE` of a machine's token: alerts, metrics, read, signals or write; may be repeated")
	f.DurationVar(&ttl, "ttl", 0, "`DURATION` for which it is valid, like 720h (default: auth.token_ttl of the configuration)")
	f.StringVar(&out, "out", "", "`FILE` to write it to, readable by you alone, instead of printing it")
	return c
}

// makeToken makes a token and prints it, or writes it to a file. The file is
// opened first: a token whose only copy could not be written is good for nobody.
func (a *app) makeToken(ctx context.Context, cfg *config.Config, spec auth.Spec, out string) error {
	var file *os.File
	if out != "" {
		var err error
		if file, err = os.CreateTemp(filepath.Dir(out), ".token-*"); err != nil { // its mode is 0600
			return fmt.Errorf("write the token: %w", err)
		}
		defer os.Remove(file.Name()) // fails once the file has its name, as it should
	}
	secret, tok, err := daemon.CreateToken(ctx, cfg, spec)
	if err != nil {
		return err
	}
	v := map[string]any{"id": tok.ID, "name": tok.Name, "expires_at": tok.ExpiresAt}
	shown := secret.Reveal()
	if file == nil {
		v["token"] = shown
	} else {
		_, err := file.WriteString(shown + "\n")
		if err = errors.Join(err, file.Close()); err == nil {
			err = os.Rename(file.Name(), out)
		}
		if err != nil {
			return fmt.Errorf("write the token: %w", err)
		}
		shown, v["file"] = out, out
	}
	text := func() {
		fmt.Fprintln(a.stdout, shown)
		fmt.Fprintf(a.stderr, "%s is valid until %s\n", tok, tok.ExpiresAt.Format(time.RFC3339))
	}
	return a.print(v, text, text)
}

// creator is the operating system's user, for the record.
func creator() string {
	u, err := user.Current()
	if err != nil {
		return "cli"
	}
	return "cli:" + u.Username
}
