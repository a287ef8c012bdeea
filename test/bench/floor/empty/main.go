// Command empty is the floor of every program in Go: it does nothing, so what
// it takes is what the kernel and the runtime take to start and end one.
package main

func main() {}
