// Package router is described here soon.
package router
