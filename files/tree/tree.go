// Package tree turns a tree of files into a plain tar and a tar into files, on
// descriptors alone, where somebody else may change the tree at the same time. It
// follows docker's rules for cp; it knows no container, and what it is given is
// its caller's affair. Row 2 (files).
//
// Where links may be on the way to a name they are resolved in a root; elsewhere
// they are refused, as another one wrote the tar. Names in a tar never lead out.
package tree
