// Package scenario runs scripts of what may happen against a configuration, in
// virtual time, and says who was paged when: the engine behind `watchbill test`
// and `watchbill replay`.
//
// # A scenario file
//
// A scenario is a txtar archive: a comment that says what is promised, the file
// script with one act a line, and the file timeline with what must come of it.
// The configuration stands in the archive as watchbill.yaml, or the script names
// one. docs/scenarios.md describes the format for users; [Parse] reads it.
//
// # Virtual time
//
// A [Script] is played by [Play] in a testing/synctest bubble: the clock stands
// still while anything works and jumps to the next timer when nothing does. What
// runs in it is a [daemon.Rehearsal], which is the daemon's own intake, router,
// store, timers and page worker; only the receivers are replaced, by ones that
// write down what reached them. A bubble needs a *testing.T, so a user's binary
// starts itself again as a child whose only work is to be one ([Child]); see
// docs/design/0005-virtual-time.md.
//
// # Determinism
//
// What is due at the instant of an act happens, and stands, before the act. What
// an act causes stands after it in the order mute, incident, page, and pages by
// person and method.
package scenario
