module github.com/bifrost-go/bifrost/examples/echo

go 1.26.0

require (
	github.com/bifrost-go/bifrost v0.0.0
	github.com/labstack/echo/v5 v5.4.4
)

require (
	github.com/google/jsonschema-go v0.4.3 // indirect
	github.com/google/uuid v1.6.0 // indirect
	golang.org/x/oauth2 v0.37.0 // indirect
)

replace github.com/bifrost-go/bifrost => ../..
