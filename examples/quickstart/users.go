package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/bifrost-go/bifrost/integrations"
	"github.com/bifrost-go/bifrost/workflow"
)

const (
	// maxPages and maxPage bound what one run reads.
	maxPages = 1000
	maxPage  = 32 << 20
)

// page is a page of an OData collection, as Microsoft Graph answers.
type page struct {
	Value []json.RawMessage `json:"value"`
	Next  string            `json:"@odata.nextLink"`
}

// listUsers returns the workflow that reads apiURL with the connection of the
// organization it runs for. It returns the value members of all pages, or a body
// without value as it is.
func listUsers(apiURL string) func(context.Context, struct{}) (json.RawMessage, error) {
	return func(ctx context.Context, _ struct{}) (json.RawMessage, error) {
		graph, err := integrations.Get(ctx, integrationName)
		if err != nil {
			return nil, err
		}
		log := workflow.Logger(ctx)
		client := graph.Client()
		users := []json.RawMessage{}
		next := apiURL
		for n := 1; n <= maxPages; n++ {
			body, err := get(ctx, client, next)
			if err != nil {
				return nil, err
			}
			p, isPage := readPage(body)
			if !isPage {
				return body, nil
			}
			users = append(users, p.Value...)
			log.InfoContext(ctx, "read a page", "page", n, "users", len(p.Value))
			if p.Next == "" {
				return json.Marshal(users)
			}
			next = p.Next
		}
		return nil, fmt.Errorf("the API has more than %d pages", maxPages)
	}
}

// readPage reports whether body is a page; anything else is returned as it is.
func readPage(body []byte) (page, bool) {
	var p page
	err := json.Unmarshal(body, &p)
	return p, err == nil && p.Value != nil
}

func get(ctx context.Context, client *http.Client, url string) (json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", req.URL.Host, res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
	if err != nil {
		return nil, err
	}
	if !json.Valid(body) {
		return nil, fmt.Errorf("%s answered something that is not JSON", req.URL.Host)
	}
	return body, nil
}
