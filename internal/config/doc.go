// Package config reads watchbill.yaml.
package config
