package integrations

import (
	"strconv"
	"strings"

	"github.com/bifrost-go/bifrost/oauthflow"
	"github.com/bifrost-go/bifrost/tokenstore"
)

// What statuses say to a person.
const (
	noOAuthMessage      = "This integration uses no OAuth; there is nothing to connect."
	notConnectedMessage = "No account is connected. Register the redirect URI with the provider, then press Connect."
	notMintedMessage    = "No token has been asked for yet. There is nothing to connect: tokens are had with the client's own credentials."
	connectingMessage   = "Somebody has begun to connect an account and has not come back yet."
	fallbackMessage     = "Served by the shared connection. Connect an account of your own to use it instead."
)

// mintedMessage is message for client credentials.
func mintedMessage(c *tokenstore.Connection) string {
	if c.Status == tokenstore.Active {
		return "Tokens are had with the client's own credentials whenever they are needed."
	}
	text := "The last token request failed and will be tried again."
	if c.LastError != nil && c.LastError.Message != "" {
		text += " " + c.LastError.Message
	}
	return text
}

// quoteAll lists names for a message.
func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return strings.Join(quoted, ", ")
}

// message says in one or two sentences what a person should know and do.
func message(c *tokenstore.Connection) string {
	detail := ""
	if c.LastError != nil && c.LastError.Message != "" {
		detail = " " + c.LastError.Message
	}
	switch c.Status {
	case tokenstore.Active:
		if !c.HasRefreshToken {
			return "Connected. The provider gave no refresh token, so this ends when the access token expires; " +
				"many providers want a scope such as offline_access for one."
		}
		if !c.ExpiresAt.IsZero() && !c.ReadAt.Before(c.ExpiresAt) {
			return "Connected. The access token has expired meanwhile; it is renewed when somebody needs it."
		}
		return "Connected. Tokens are renewed automatically."
	case tokenstore.Degraded:
		return "The last renewal failed and will be tried again." + detail
	case tokenstore.ReauthRequired:
		return strings.TrimSuffix(reauthMessage(c.Reason), ".") + " (" + c.Reason + ")." + detail
	default:
		return "Not connected."
	}
}

func reauthMessage(reason string) string {
	switch reason {
	case oauthflow.ReasonEntityChanged:
		return "The tenant in the definition is not the one this account was connected under. Connect again."
	case oauthflow.ReasonClientChanged:
		return "The client id in the definition is not the one this account was connected with. Connect again."
	case oauthflow.ReasonDefinitionChanged:
		return "The provider's URLs in the definition have changed since this account was connected. Connect again."
	case oauthflow.ReasonLostRotation:
		return "A renewed token was lost between the provider and this server. Connect again."
	case oauthflow.ReasonNoRefreshToken:
		return "The access token has expired, and the provider gave no refresh token. Connect again."
	default:
		return "The provider no longer accepts this grant (password changed, consent withdrawn, or expired). Connect again."
	}
}
