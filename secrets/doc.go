// Package secrets turns the keys of a Kubernetes Secret into access to an auth
// service. [FromMap] reads keys and values; a [Resolver] finds them, in a CSI
// request or, with client-go, in a Secret that the volume names. One table says
// which keys select which credential; docs/PARAMETERS.md is made from it.
//
// Everything is safe for concurrent use. Errors name keys and Secrets, never
// values. The package caches nothing: what a Secret says now counts.
package secrets
