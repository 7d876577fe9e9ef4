// The usual shape of a TCP proxy with toxics in Go, to compare with where none of them can be installed: for each direction of
// a connection one goroutine that reads chunks of 32 KiB, one in the place of a toxic, and one that writes, with channels
// between them.
//
//	go_proxy LISTEN UPSTREAM
package main

import (
	"log"
	"net"
	"os"
)

func read(from net.Conn, chunks chan<- []byte) {
	defer close(chunks)
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			chunks <- append([]byte(nil), buffer[:n]...)
		}
		if err != nil {
			return
		}
	}
}

func pass(in <-chan []byte, out chan<- []byte) {
	defer close(out)
	for chunk := range in {
		out <- chunk
	}
}

func write(to net.Conn, chunks <-chan []byte) {
	for chunk := range chunks {
		if _, err := to.Write(chunk); err != nil {
			break
		}
	}
	to.Close()
	for range chunks { // whoever reads is not held up
	}
}

func carry(from, to net.Conn) {
	in, out := make(chan []byte), make(chan []byte)
	go read(from, in)
	go pass(in, out)
	go write(to, out)
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: go_proxy LISTEN UPSTREAM")
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Print(err)
			continue
		}
		go func() {
			server, err := net.Dial("tcp", os.Args[2])
			if err != nil {
				client.Close()
				return
			}
			carry(client, server)
			carry(server, client)
		}()
	}
}
