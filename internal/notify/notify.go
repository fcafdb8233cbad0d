// Package notify is described here soon.
package notify
