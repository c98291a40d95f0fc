package oauthflow

// HashText is how a flow's state is stored.
var HashText = hashText
