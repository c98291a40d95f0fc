package oauthflow

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/bifrost-go/bifrost/tokenstore"
)

// sealedFlow is what a flow keeps sealed: what the callback needs and nobody may
// read or change meanwhile.
type sealedFlow struct {
	// Verifier is the PKCE code verifier; empty without PKCE.
	Verifier string `json:"verifier,omitempty"`
	// For is where the code may go: what the definition said when the browser was
	// sent away.
	For codeFor `json:"for"`
}

// codeFor says to whom a code belongs.
type codeFor struct {
	ClientID    string `json:"client_id"`
	TokenURL    string `json:"token_url"` // as TokenHost has it
	Fingerprint string `json:"fingerprint,omitempty"`
}

func codeForTarget(t Target) (codeFor, error) {
	u, err := t.Client.host("TokenURL", t.EntityID, t.Values)
	return codeFor{ClientID: t.Client.ClientID, TokenURL: u, Fingerprint: t.Fingerprint}, err
}

// changed says what about t is no longer what the code is for; empty if nothing.
func (c codeFor) changed(t Target) (string, error) {
	now, err := codeForTarget(t)
	switch {
	case err != nil:
		return "", err
	case now.ClientID != c.ClientID:
		return ReasonClientChanged, nil
	case now != c:
		return ReasonDefinitionChanged, nil
	}
	return "", nil
}

// flowBinding ties what is sealed to its flow.
func flowBinding(f tokenstore.Flow) tokenstore.Binding {
	return tokenstore.Binding{Key: f.Key, Field: "flow " + f.StateHash}
}

func (s sealedFlow) seal(ctx context.Context, sealer *tokenstore.Sealer, f tokenstore.Flow) ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return sealer.Seal(ctx, text, flowBinding(f))
}

func openFlow(ctx context.Context, sealer *tokenstore.Sealer, f tokenstore.Flow) (sealedFlow, error) {
	var s sealedFlow
	text, err := sealer.Open(ctx, f.Verifier, flowBinding(f))
	if err != nil {
		return s, err
	}
	if json.Unmarshal(text, &s) != nil { // its error may quote the text
		return s, errors.New("oauthflow: the sealed flow has a form that this version does not know")
	}
	return s, nil
}
