//go:build !linux

package main

// kernel has nothing to look for here.
func (d *doctor) kernel() {}
