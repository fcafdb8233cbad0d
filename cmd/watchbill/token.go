package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/daemon"
)

func (a *app) token() *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "Make tokens for people and machines",
		Args: args(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.tokenCreate())
	return c
}

func (a *app) tokenCreate() *cobra.Command {
	var person, out string
	var scopes []string
	var ttl time.Duration
	c := &cobra.Command{
		Use: "create [NAME]", Short: "Make a token and print it once", Args: args(cobra.MaximumNArgs(1)),
		Long: "Make a token in the store that --config names, and print it; it cannot be shown again. A person's\n" +
			"token may do what the responsibility matrix allows that person. A machine's token may do what its\n" +
			"scopes say: alerts (push alerts), metrics (read /metrics), read (read the API).",
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
			secret, tok, err := daemon.CreateToken(c.Context(), cfg, spec)
			if err != nil {
				return err
			}
			return a.showToken(secret, tok, out)
		},
	}
	f := c.Flags()
	f.StringVar(&person, "person", "", "whose token it is, as named under people:")
	f.StringSliceVar(&scopes, "scope", nil, "what a machine may do: alerts, metrics, read")
	f.DurationVar(&ttl, "ttl", 0, "how long it is valid (default: auth.token_ttl)")
	f.StringVar(&out, "out", "", "write it to this `FILE`, readable by you alone, instead of printing it")
	return c
}

func (a *app) showToken(secret auth.Secret, tok auth.Token, out string) error {
	shown := secret.Reveal()
	if out != "" {
		if err := os.WriteFile(out, []byte(shown+"\n"), 0o600); err != nil {
			return fmt.Errorf("write the token: %w", err)
		}
		shown = out
	}
	v := map[string]any{"id": tok.ID, "name": tok.Name, "expires_at": tok.ExpiresAt, "token": shown}
	text := func() {
		fmt.Fprintln(a.stdout, shown)
		fmt.Fprintf(a.stderr, "%s is valid until %s\n", strings.TrimSpace(tok.String()), tok.ExpiresAt.Format(time.RFC3339))
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

func (a *app) audit() *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Verify the record of what happened",
		Args: args(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(&cobra.Command{
		Use: "verify", Short: "Check the hash chain of every incident's events", Args: args(cobra.NoArgs),
		Long: "Check that no event of any incident was altered, removed or reordered since it was written. It reads\n" +
			"the store that --config names; the daemon may run meanwhile. Exits 1 when a chain is broken.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			result, err := daemon.Audit(c.Context(), cfg, func(id watchbill.IncidentID, err error) {
				fmt.Fprintf(a.stderr, "%s: %v\n", id, err)
			})
			if err != nil {
				return err
			}
			text := func() {
				fmt.Fprintf(a.stdout, "%d incidents, %d events, %d broken chains\n", result.Incidents, result.Events, result.Broken)
			}
			if err := a.print(result, text, text); err != nil {
				return err
			}
			if result.Broken > 0 {
				return fmt.Errorf("%d chains are broken: compare the incidents named above with a backup", result.Broken)
			}
			return nil
		},
	})
	return c
}
