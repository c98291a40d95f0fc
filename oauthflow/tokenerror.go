package oauthflow

// Error implements error.
func (e *TokenError) Error() string { return "oauthflow: token request failed: " + string(e.Class) }

// Unwrap returns the transport's error.
func (e *TokenError) Unwrap() error { return e.Err }
