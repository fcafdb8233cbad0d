// Package escalation is described here soon.
package escalation
