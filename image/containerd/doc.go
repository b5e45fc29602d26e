// Package containerd gives the image store the interfaces of containerd that
// the packages below have the shape of: snapshots.Snapshotter, images.Store and
// leases.Manager (image/content is a content.Store itself). It stands apart
// because those packages of containerd link protobuf and gRPC, which a program
// pays for at every start; berth must not link it. Nothing is decided here: a
// line a method. Row 3, image room.
package containerd
