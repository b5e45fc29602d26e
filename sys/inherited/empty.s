// This file lets read.go declare a function without a body.
