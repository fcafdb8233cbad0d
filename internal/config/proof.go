package config

import (
	"slices"
	"strings"

	"watchbill"
)

// closingProof reads what must be known before an incident is closed. The section
// alone asks for the defaults; without it incidents close by themselves.
func (b *builder) closingProof() {
	if keyNode(b.root, "closing_proof") == nil {
		return
	}
	in, p := b.file.ClosingProof, &b.cfg.Incident.Proof
	p.Needed = true
	p.Remind, p.Signal = b.positive(in.Remind, "remind"), b.positive(in.Signal, "signal")
	fields := watchbill.ProofFields()
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = string(f)
	}
	for _, e := range in.Require {
		severity, err := watchbill.ParseSeverity(e.Key.v)
		if err != nil {
			b.problem(e.Key.n, "use sev1, sev2, sev3 or sev4", "%q is not a severity", e.Key.v)
			continue
		}
		if p.Fields == nil {
			p.Fields = map[watchbill.Severity][]watchbill.ProofField{}
		}
		p.Fields[severity] = []watchbill.ProofField{}
		for _, f := range e.Value {
			i := slices.Index(known, f.v)
			if i < 0 {
				b.problem(f.n, "the fields are "+strings.Join(known, ", "), "%q is not a field of a closing proof", f.v)
				continue
			}
			p.Fields[severity] = append(p.Fields[severity], fields[i])
		}
	}
}
