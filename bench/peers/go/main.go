// A job queue as one writes it in Go in an afternoon: a channel, worker goroutines, a map of statuses. No persistence,
// no limits beyond the channel's, no documents but the bare ones.
//
//	POST /jobs         202 and a Location, or 503 when the channel is full
//	HEAD, GET /jobs/x  202 while it is live, 200 once it is over, 404 otherwise
//	POST /control?held=0|1&capacity=N&clear=1   for the bench: let no job start; how many may wait; forget type "echo"
package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	workers     = 256
	capacityMax = 1 << 22
)

type job struct {
	id     string
	kind   string
	args   json.RawMessage
	over   atomic.Bool
	result json.RawMessage
}

type submission struct {
	Type string          `json:"type"`
	Args json.RawMessage `json:"args"`
}

type document struct {
	ID     string          `json:"id"`
	State  string          `json:"state"`
	Result json.RawMessage `json:"result"`
}

type queue struct {
	mutex    sync.RWMutex
	jobs     map[string]*job
	waiting  chan *job
	capacity atomic.Int64
	gate     sync.RWMutex
	held     bool
}

func (q *queue) work() {
	for j := range q.waiting {
		q.gate.RLock()
		q.gate.RUnlock()
		j.result = j.args
		j.over.Store(true)
	}
}

func newID() string {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(random[:])
}

func (q *queue) submit(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	var given submission
	if json.Unmarshal(body, &given) != nil || given.Type == "" {
		http.Error(w, "not a job", http.StatusUnprocessableEntity)
		return
	}
	if int64(len(q.waiting)) >= q.capacity.Load() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "full", http.StatusServiceUnavailable)
		return
	}
	j := &job{id: newID(), kind: given.Type, args: given.Args}
	q.mutex.Lock()
	q.jobs[j.id] = j
	q.mutex.Unlock()
	q.waiting <- j
	w.Header().Set("Location", "/jobs/"+j.id)
	answer(w, http.StatusAccepted, j, "queued")
}

func (q *queue) look(w http.ResponseWriter, r *http.Request) {
	q.mutex.RLock()
	j := q.jobs[strings.TrimPrefix(r.URL.Path, "/jobs/")]
	q.mutex.RUnlock()
	switch {
	case j == nil:
		http.Error(w, "no such job", http.StatusNotFound)
	case j.over.Load():
		answer(w, http.StatusOK, j, "succeeded")
	default:
		answer(w, http.StatusAccepted, j, "queued")
	}
}

func answer(w http.ResponseWriter, status int, j *job, state string) {
	w.Header().Set("Content-Type", "application/json")
	doc := document{ID: j.id, State: state}
	if state == "succeeded" {
		doc.Result = j.result
	}
	body, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

func (q *queue) control(w http.ResponseWriter, r *http.Request) {
	given := r.URL.Query()
	if held := given.Get("held") == "1"; given.Has("held") && held != q.held {
		q.held = held
		if held {
			q.gate.Lock()
		} else {
			q.gate.Unlock()
		}
	}
	if capacity, err := strconv.ParseInt(given.Get("capacity"), 10, 64); err == nil {
		q.capacity.Store(capacity)
	}
	if given.Get("clear") == "1" {
		q.clear()
	}
	w.WriteHeader(http.StatusNoContent)
}

func (q *queue) clear() {
	for len(q.waiting) > 0 {
		<-q.waiting
	}
	q.mutex.Lock()
	defer q.mutex.Unlock()
	for id, j := range q.jobs {
		if j.kind == "echo" {
			delete(q.jobs, id)
		}
	}
}

func main() {
	q := &queue{jobs: map[string]*job{}, waiting: make(chan *job, capacityMax+workers)}
	q.capacity.Store(capacityMax)
	for n := 0; n < workers; n++ {
		go q.work()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/control", q.control)
	mux.HandleFunc("/jobs", q.submit)
	mux.HandleFunc("/jobs/", q.look)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("port", listener.Addr().(*net.TCPAddr).Port)
	fmt.Fprintln(os.Stderr, http.Serve(listener, mux))
}
