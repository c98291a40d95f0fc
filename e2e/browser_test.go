package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// A person clicks through the main job on the pages, with the stand-in: a denial
// first, then consent, Active, Execute, users; refresh and disconnect at the end.
func TestClickThrough(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.start(t, s.addr())
	b := newBrowser(t)

	b.do("open the first page", chromedp.Navigate(s.base+"/"), see("Microsoft_Graph"), see("Not connected"))
	b.shoot("integrations")

	b.do("connect", press("Connect"))
	b.signIn()
	b.do("deny", press("Deny"), see("access_denied"))
	b.shoot("denied")
	b.do("go back", follow("Back"), see("Microsoft_Graph"), see("Not connected"))

	b.do("connect again", press("Connect"))
	b.signIn()
	b.shoot("consent")
	b.do("allow", press("Allow"), see("Active"))
	b.shoot("active")

	b.do("open the workflows", follow("Workflows"), see(workflow))
	b.shoot("workflows")
	b.do("execute", press("Execute"), see("Alice Archer"), see("Hiro Hayashi"))
	b.shoot("executed")

	b.do("refresh", follow("Integrations"), press("Refresh"), see("fresh access token"), see("Active"))
	b.do("reconnect", press("Reconnect"))
	b.signIn()
	b.do("allow again", press("Allow"), see("Active"))
	b.do("disconnect", press("Disconnect"), see("Not connected"))
	b.shoot("disconnected")

	require.Empty(t, b.complaints(), "the browser complained: a blocked style, form or script")
}

// browser is a headless Chromium with one tab.
type browser struct {
	t     *testing.T
	ctx   context.Context //nolint:containedctx // chromedp keeps the tab in it
	shots string
	count int

	mu   sync.Mutex
	said []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	need(t, path != "", "chromium")

	b := &browser{t: t, shots: os.Getenv("BIFROST_E2E_SHOTS")}
	if b.shots == "" {
		b.shots = t.TempDir()
	}
	require.NoError(t, os.MkdirAll(b.shots, 0o755))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(path),
		chromedp.UserDataDir(filepath.Join(t.TempDir(), "profile")),
		chromedp.Flag("headless", true),
		chromedp.NoSandbox, // root in a container has no other choice
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("hide-scrollbars", true), // as on a telephone
		// Without these it talks to the world on its own.
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.WSURLReadTimeout(patience),
	)
	t.Cleanup(cancel)
	b.ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Listen(b.ctx, b.listen))
	_, err := chromedp.Call(b.ctx, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	b.do("size", chromedp.EmulateViewport(1280, 900))
	return b
}

// listen keeps what the browser finds fault with. A 4xx answer is not one: that
// of a denied consent is what it should be.
func (b *browser) listen(event any) {
	complaint := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Source != log.EntrySourceNetwork && (e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning) {
			complaint = fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		complaint = e.ExceptionDetails.Text
	}
	if complaint != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.said = append(b.said, complaint)
	}
}

func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.said
}

// do runs one step and says on which page it got stuck.
func (b *browser) do(step string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		defer cancel()
		at, _ := chromedp.Run(ctx, chromedp.Location())
		text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](bodyText))
		b.save("stuck")
		require.NoError(b.t, err, "%s: stuck at %s:\n%s\nthe browser said: %q", step, at, text, b.complaints())
	}
}

// signIn fills in the stand-in's first form, unless it still knows who this is.
func (b *browser) signIn() {
	b.t.Helper()
	const field, allow = `//input[@name="username"]`, `//button[normalize-space()="Allow"]`
	b.do("sign in", chromedp.WaitVisible(chromedp.Search(field+" | "+allow)))
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	form, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.querySelector('input[name=username]') !== null`))
	require.NoError(b.t, err)
	if form {
		b.do("fill in the form",
			chromedp.SetValue(chromedp.Search(field), "alice"),
			chromedp.SendKeys(chromedp.Search(`//input[@name="password"]`), "any\r"),
			chromedp.WaitVisible(chromedp.Search(allow)),
		)
	}
}

// shoot takes the page's picture at the width of a desk and of a telephone, where
// nothing may stand out to the right.
func (b *browser) shoot(name string) {
	b.t.Helper()
	b.count++
	for _, width := range []int64{1280, 390} {
		b.do("resize for "+name, chromedp.EmulateViewport(width, 900))
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		overflow, err := chromedp.Run(ctx, chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`))
		cancel()
		require.NoError(b.t, err)
		if overflow > 0 {
			b.t.Errorf("%s: %d px too wide for a window of %d px", name, overflow, width)
		}
		b.save(fmt.Sprintf("%02d-%s-%d", b.count, name, width))
	}
	b.do("wide again", chromedp.EmulateViewport(1280, 900))
}

// save keeps a picture of the whole page; without one no test is worth less.
func (b *browser) save(name string) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(b.shots, name+".png"), picture, 0o644)
	}
	if err != nil {
		b.t.Logf("picture %s: %v", name, err)
	}
}

// press clicks the first button with this text.
func press(text string) chromedp.Action[chromedp.Void] {
	return leave(fmt.Sprintf(`(//button[normalize-space()=%q])[1]`, text))
}

// follow clicks the first link whose text begins so.
func follow(text string) chromedp.Action[chromedp.Void] {
	return leave(fmt.Sprintf(`(//a[starts-with(normalize-space(), %q)])[1]`, text))
}

// leave clicks and waits for the page that comes of it. What is looked for next
// must not be found on the page that is being left.
func leave(xpath string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := chromedp.Evaluate[bool](`window.left = true`)(ctx, t)
			return err
		}),
		chromedp.Click(chromedp.Search(xpath), chromedp.NodeVisible),
		holds(`!window.left && document.readyState === "complete"`),
	)
}

const bodyText = `document.body ? document.body.innerText : ""`

// see waits until the text stands on the page.
func see(text string) chromedp.Action[chromedp.Void] {
	return holds(fmt.Sprintf(`(%s).includes(%q)`, bodyText, text))
}

// holds waits until the expression is true. A page that is being left answers
// nothing, and its successor is asked.
func holds(expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		return poll(ctx, 50*time.Millisecond, func() (bool, error) {
			is, err := chromedp.Evaluate[bool](expression)(ctx, t)
			return err == nil && is, nil
		})
	})
}
