// Package deploy holds what an installation needs besides the binary:
// example configurations, the systemd unit, the Debian package, the image, and
// manifests for Kubernetes and compose (docs/install.md). It has no code of its own; its tests load every
// example, so that what a reader copies works.
//
// # Examples
//
// examples/small is a team of six for a shop with three services: the preset
// roles, two rosters, scraping with static and file discovery, one rule file, one
// service target, a receiver for each person. Copy the folder, change the names
// and the addresses, and run
//
//	watchbill check watchbill.yaml
//
// examples/follow-the-sun are rosters: twelve people in three locations, with three
// gaps for watchbill coverage to find; docs/oncall.md is about it.
package deploy
