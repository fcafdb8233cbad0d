package watchbill

import "time"

// Verdict says what an incident was worth. The strings are stored: never change one.
type Verdict string

// The verdicts.
const (
	VerdictUseful  Verdict = "useful"
	VerdictNoise   Verdict = "noise"
	VerdictUnclear Verdict = "unclear"
)

// ParseVerdict reads a verdict.
func ParseVerdict(s string) (Verdict, error) {
	switch v := Verdict(s); v {
	case VerdictUseful, VerdictNoise, VerdictUnclear:
		return v, nil
	}
	return "", Invalidf("use useful, noise or unclear", "verdict: %q is not a verdict", s)
}

// ProofField is something that must be known before an incident is closed.
type ProofField string

// The fields of a closing proof.
const (
	ProofCause   ProofField = "cause"   // what caused it
	ProofVerdict ProofField = "verdict" // was the page useful, or noise
	ProofPlan    ProofField = "plan"    // every step is done, skipped or handed over
	ProofReviews ProofField = "reviews" // every broken glass is reviewed
	ProofSignal  ProofField = "signal"  // the alerts stayed away, or a person says why not
)

// ProofFields returns every field.
func ProofFields() []ProofField {
	return []ProofField{ProofCause, ProofVerdict, ProofPlan, ProofReviews, ProofSignal}
}

// Proof is what people said of an incident that is over.
type Proof struct {
	Cause   string    `json:"cause,omitempty"`
	Verdict Verdict   `json:"verdict,omitempty"`
	Signal  string    `json:"signal,omitempty"` // why it may be closed though its signal is not back for long
	By      PersonID  `json:"by"`
	At      time.Time `json:"at"`
}
