// A function without a body, see serve.go, needs a file in assembly beside it.
