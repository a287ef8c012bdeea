// Package packages builds the packages and looks at what is in them: whether two
// builds are the same, what the systems' own tools say of them, whether their man
// pages and the settings that they install say what the programs do, and what
// becomes of jobs when one is installed, upgraded, removed and purged.
package packages
