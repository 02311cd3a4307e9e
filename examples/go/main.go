// The program submits a job, waits for its end and prints its result, with the client that is generated from
// /openapi.json (docs/how-to/go.md says how):
//
//	JOBQUEUE_URL=http://127.0.0.1:8080 go run . echo '{"hello": "world"}'
//
// Rules: a submission has one Idempotency-Key in all its tries, so it is one job even if an answer is lost; a rejected one
// (429, 503) comes again no sooner than its Retry-After says; the end is waited for, not polled.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand"
	"net/http"
	"os"
	"strconv"
	"time"

	"example.com/jobs/jobqueue"
)

const (
	patience = 2 * time.Minute
	wait     = "wait=20"        // of one request, in seconds: less than proxies allow, and the timeout
	timeout  = 40 * time.Second // of one request
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, words []string) error {
	if len(words) == 0 {
		return errors.New("usage: TYPE [ARGUMENTS AS JSON]")
	}
	submission := jobqueue.NewSubmission(words[0])
	if len(words) > 1 {
		if err := json.Unmarshal([]byte(words[1]), &submission.Args); err != nil {
			return fmt.Errorf("the arguments are no JSON object: %w", err)
		}
	}
	api := newClient(os.Getenv("JOBQUEUE_URL"), os.Getenv("JOBQUEUE_KEY")).JobsAPI
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	key := fmt.Sprintf(`"%x"`, random)
	job, err := repeated(ctx, api.SubmitJob(ctx).Submission(*submission).IdempotencyKey(key).Prefer(wait).Execute)
	if err != nil {
		return err
	}
	for job.FinishedAt.Get() == nil {
		found, err := repeated(ctx, api.GetJob(ctx, job.Id).Prefer(wait).Execute)
		if err != nil {
			return err
		}
		job.State, job.FinishedAt, job.Error, job.Result = found.State, found.FinishedAt, found.Error, found.Result
	}
	if failure := job.Error.Get(); failure != nil {
		return fmt.Errorf("the job has %s: %s: %s", job.State, failure.Code, failure.Message)
	}
	if job.State != "succeeded" {
		return fmt.Errorf("the job is %s", job.State)
	}
	return json.NewEncoder(os.Stdout).Encode(job.Result)
}

func newClient(url, key string) *jobqueue.APIClient {
	settings := jobqueue.NewConfiguration()
	settings.Servers = jobqueue.ServerConfigurations{{URL: url}}
	settings.HTTPClient = &http.Client{Timeout: timeout}
	if key != "" {
		settings.AddDefaultHeader("Authorization", "Bearer "+key)
	}
	return jobqueue.NewAPIClient(settings)
}

// repeated asks until there is an answer other than a rejection for now, or the time is over.
func repeated[T any](ctx context.Context, ask func() (T, *http.Response, error)) (found T, err error) {
	for {
		var response *http.Response
		found, response, err = ask()
		if err == nil {
			return found, nil
		}
		pause := time.Second
		if response != nil {
			if response.StatusCode != http.StatusTooManyRequests && response.StatusCode < http.StatusInternalServerError {
				return found, err // it names each fault
			}
			if seconds, bad := strconv.Atoi(response.Header.Get("Retry-After")); bad == nil && seconds >= 1 {
				pause = time.Duration(seconds) * time.Second
			}
		}
		pause += time.Duration(mathrand.Int63n(int64(pause)/5 + 1)) // clients that were rejected together come apart
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return found, fmt.Errorf("given up: %w", err)
		}
	}
}
