package main

func int80(n uint32) uint32
