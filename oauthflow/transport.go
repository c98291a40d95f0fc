package oauthflow

import "net/http"

// NewTransport returns the transport token requests need.
func NewTransport() *http.Transport { return &http.Transport{DisableKeepAlives: true} }
