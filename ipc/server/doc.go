// Package server is the HTTP API on the Unix socket: routes, peer credentials,
// bounds, and errors as RFC 9457 problems. It decides nothing; a Backend does.
//
// Who a client is, is what the kernel says of the connection, never text. Every
// route stands in one table with the access it needs, and one function checks
// it. Requests of foreign origins and hosts are refused, as a browser on the
// machine may be made to send them.
package server
