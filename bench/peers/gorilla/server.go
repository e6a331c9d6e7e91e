// One room on gorilla/websocket. Usage: server PORT BODY_BYTES
//
// A goroutine for each connection reads; the broadcast is one PreparedMessage, framed once and
// written to every connection in turn. GOMAXPROCS is given by whoever starts it.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"

	"github.com/gorilla/websocket"
)

var (
	lock sync.Mutex
	// By order of arrival; nil where a connection has ended.
	members []*websocket.Conn
	// Compression is off unless it is asked for; buffers are the HTTP server's, 4 KiB each way.
	upgrader = websocket.Upgrader{}
)

func join(response http.ResponseWriter, request *http.Request) {
	connection, err := upgrader.Upgrade(response, request, nil)
	if err != nil {
		return // The upgrader has answered with the reason.
	}
	lock.Lock()
	place := len(members)
	members = append(members, connection)
	lock.Unlock()
	for {
		if _, _, err := connection.NextReader(); err != nil {
			break
		}
	}
	lock.Lock()
	members[place] = nil
	lock.Unlock()
	connection.Close()
}

func broadcast(message *websocket.PreparedMessage) {
	lock.Lock()
	defer lock.Unlock()
	for _, connection := range members {
		if connection != nil {
			// A connection that cannot be written to ends in its reader.
			_ = connection.WritePreparedMessage(message)
		}
	}
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: server PORT BODY_BYTES")
	}
	bodyBytes, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatalf("BODY_BYTES: %v", err)
	}
	message, err := websocket.NewPreparedMessage(websocket.BinaryMessage, bytes.Repeat([]byte("t"), bodyBytes))
	if err != nil {
		log.Fatal(err)
	}
	// Go sets TCP_NODELAY on every accepted connection by itself.
	listener, err := net.Listen("tcp4", "0.0.0.0:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(listener, http.HandlerFunc(join))) }()

	fmt.Println("ready", listener.Addr().(*net.TCPAddr).Port)
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		var count int
		if _, err := fmt.Sscanf(commands.Text(), "b %d", &count); err != nil {
			continue
		}
		for sent := 0; sent < count; sent++ {
			broadcast(message)
		}
		fmt.Println("done")
	}
}
