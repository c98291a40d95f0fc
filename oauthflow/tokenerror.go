package oauthflow

import (
	"strconv"
	"strings"
)

// Error implements error. The text says what to do where anything can be done.
func (e *TokenError) Error() string {
	var b strings.Builder
	b.WriteString("oauthflow: ")
	b.WriteString(e.summary())
	sep := ": "
	add := func(parts ...string) {
		for _, part := range parts {
			b.WriteString(part)
		}
	}
	if e.Code != "" {
		add(sep, e.Code)
		if e.SubCode != "" {
			add("/", e.SubCode)
		}
	}
	if e.Description != "" {
		add(sep, e.Description)
	}
	if e.Detail != "" {
		add(sep, e.Detail)
	}
	if e.Err != nil {
		add(sep, strings.TrimPrefix(e.Err.Error(), "oauthflow: "))
	}
	if e.Status != 0 {
		add(" (status ", strconv.Itoa(e.Status), ")")
	}
	return b.String()
}

// Unwrap returns Err.
func (e *TokenError) Unwrap() error { return e.Err }

func (e *TokenError) summary() string {
	if !e.Sent {
		if e.Class == ClassTransient {
			return "the request was not sent"
		}
		return "the request cannot be made"
	}
	switch e.Class {
	case ClassDead:
		return "the provider does not accept the grant, connect again"
	case ClassOperator:
		return "the provider refuses the client, check ClientID, ClientSecret and ClientAuth"
	case ClassConfiguration:
		return "the provider refuses what was asked for, check Scopes"
	case ClassTransient:
		return "the provider cannot answer now, try again later"
	case ClassUnknown:
		return "the outcome of the request is unknown"
	default:
		return "the provider refused the request"
	}
}
