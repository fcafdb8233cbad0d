package daemon

import (
	"context"

	toolkit "github.com/prometheus/exporter-toolkit/web"

	"watchbill"
)

// checkWeb finds out that the listener could not speak TLS before anything runs.
func checkWeb(file string) error {
	if file == "" {
		return nil
	}
	if err := toolkit.Validate(file); err != nil {
		return watchbill.Invalidf("see to the files that web_config_file: names", "cannot serve as %s says: %v", file, err)
	}
	return nil
}

// serve answers requests until the server is shut down. The certificate is read anew
// for every connection, so that a renewed one needs no reload.
func (d *Daemon) serve() error {
	if d.fixed.WebConfig == "" {
		return d.server.Serve(d.listener)
	}
	d.o.Logger.InfoContext(context.Background(), "the API is served by TLS", "web_config_file", d.fixed.WebConfig)
	return toolkit.Serve(d.listener, d.server, &toolkit.FlagConfig{WebConfigFile: &d.fixed.WebConfig}, d.o.Logger)
}
