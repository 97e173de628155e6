//go:build tools

// Package tools pins the command that the test bed builds, so that go.sum locks it by hash.
package tools

import _ "helm.sh/helm/v3/cmd/helm"
