package watchdog

import (
	"context"
	"net"
)

// Publish posts a JSON body to an address that is a secret, in at most ten seconds.
// Anything but 2xx is an error, which holds no secret.
func Publish(ctx context.Context, to Secret, body []byte, dial func(ctx context.Context, network, address string) (net.Conn, error)) error {
	if dial == nil {
		dial = (&net.Dialer{Timeout: channelTimeout}).DialContext
	}
	ctx, cancel := context.WithTimeout(ctx, channelTimeout)
	defer cancel()
	return clean(request(ctx, dial, post{address: to, body: body, kind: "application/json"}), to)
}
