//go:build tools

// Package kubeassets names the programs that tests build from modules, so that `go mod tidy` keeps what they need.
package kubeassets

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
