// Package dashboards holds what people and rules look at to see how watchbill
// itself is doing.
//
// # The rules
//
// alerts/watchbill.yaml holds alert rules in Prometheus' format for watchbill's
// own metrics. The daemon loads them by default and evaluates them on its own
// metrics, which it keeps as the job "watchbill"; self_monitoring: false switches
// both off. A Prometheus elsewhere can use the same file on what it scrapes from
// /metrics; that is worth having, since a daemon that is dead evaluates nothing.
//
// Their alerts have the label service="watchbill" and page like any others. What
// keeps pages from leaving is told by the alarm and the dead man's switch too; see
// package watchdog.
//
// # Grafana
//
// grafana/dashboards holds dashboards for Grafana, and grafana/provisioning what
// makes a Grafana read them and use watchbill as a data source of the types
// Prometheus and Alertmanager. [Export] writes all of it, and the rules, into a
// folder.
//
// Tests hold each expression to the metrics that a running daemon has.
package dashboards

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"watchbill"
)

// RulesName is the name of the file with the rules.
const RulesName = "dashboards/alerts/watchbill.yaml"

//go:embed alerts grafana
var files embed.FS

// Rules returns the alert rules for watchbill's own metrics, in Prometheus'
// format.
func Rules() []byte {
	content, err := files.ReadFile("alerts/watchbill.yaml")
	if err != nil {
		panic("the binary was built without its rules: " + err.Error())
	}
	return content
}

// Export writes all files into a folder, which it makes if needed, and returns
// their names. A file that is there with another content is replaced only with
// replace; without, nothing is written then.
func Export(dir string, replace bool) (names []string, err error) {
	visit := func(act func(name, path string, content []byte) error) error {
		return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := files.ReadFile(name)
			if err != nil {
				return fmt.Errorf("read what the binary holds: %w", err)
			}
			return act(name, filepath.Join(dir, filepath.FromSlash(name)), content)
		})
	}
	err = visit(func(_, path string, content []byte) error {
		old, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist) || replace:
			return nil
		case err != nil:
			return fmt.Errorf("look at what is there: %w", err)
		case !bytes.Equal(old, content):
			return watchbill.Errorf(watchbill.CodeConflict, "choose another folder, or replace it with --replace", "%s is there with another content", path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = visit(func(name, path string, content []byte) error {
		names = append(names, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make a folder for the dashboards: %w", err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("write a dashboard: %w", err)
		}
		return nil
	})
	return names, err
}
