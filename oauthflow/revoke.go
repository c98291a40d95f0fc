package oauthflow

import "errors"

// ErrNoRevocation is returned by Revoke for a provider that cannot revoke.
var ErrNoRevocation = errors.New("oauthflow: the provider has no revocation endpoint")
