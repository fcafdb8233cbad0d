package config

import (
	"os"
	"path/filepath"
	"strings"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
)

// webFile is what is looked at in a web configuration before exporter-toolkit reads
// it.
type webFile struct {
	TLS struct {
		Cert     string `yaml:"cert"`
		CertFile string `yaml:"cert_file"`
		KeyFile  string `yaml:"key_file"`
		CAFile   string `yaml:"client_ca_file"`
	} `yaml:"tls_server_config"`
	Users yaml.Node `yaml:"basic_auth_users"`
}

// webConfig checks the file of TLS, which is in exporter-toolkit's format, as the
// listener will read it. Files that are not there yet are a doubt: a configuration is
// also checked where its keys are not.
func (b *builder) webConfig() {
	f := b.file.WebConfig
	if !f.given() {
		return
	}
	path := b.absolute(f.n, filepath.FromSlash(b.expandEnv(f.n)))
	b.cfg.WebConfig = path
	content, err := b.read(path)
	if err != nil {
		b.warn(f.n, "make it before the daemon starts", "%s cannot be read: %v", f.v, err)
		return
	}
	var w webFile
	if err := yaml.Unmarshal(content, &w); err != nil {
		b.problem(f.n, "write it as https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md says", "%s is not valid YAML", f.v)
		return
	}
	if !w.Users.IsZero() {
		b.problem(f.n, "remove basic_auth_users; make tokens with: watchbill token create", "%s has users of its own, who would keep out everybody with a token", f.v)
		return
	}
	for _, name := range []string{w.TLS.CertFile, w.TLS.KeyFile, w.TLS.CAFile} {
		if name == "" {
			continue
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(path), name)
		}
		if _, err := os.Stat(name); err != nil {
			b.warn(f.n, "make it before the daemon starts", "%s names %s, which cannot be read: %v", f.v, name, plainFileError(err))
			return
		}
	}
	if err := toolkit.Validate(path); err != nil {
		b.problem(f.n, "write it as https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md says", "%s: %v", f.v, err)
		return
	}
	if tls := w.TLS.Cert != "" || w.TLS.CertFile != ""; tls && !strings.HasPrefix(b.cfg.ExternalURL, "https:") {
		b.warn(b.file.ExternalURL.n, "write https://…", "external_url is http, and the listener speaks https")
	}
}
