// Reads one feature of the carriers that are named: readfeatures AA B6
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"sync"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

const (
	lookback = 48 * time.Hour // the view's
	query    = `SELECT carrier_mean_delay_24h, event_timestamp FROM features.carrier_delay__v1 WHERE carrier = ?`
)

func connect() (*gocql.Session, error) {
	port, err := strconv.Atoi(os.Getenv("CASSANDRA_PORT"))
	if err != nil {
		return nil, fmt.Errorf("CASSANDRA_PORT: %w", err)
	}
	cluster := gocql.NewCluster(os.Getenv("CASSANDRA_HOST"))
	cluster.Port = port
	cluster.Authenticator = gocql.PasswordAuthenticator{
		Username: os.Getenv("CASSANDRA_USER"),
		Password: os.Getenv("CASSANDRA_PASSWORD"),
	}
	cluster.SslOpts = &gocql.SslOptions{CaPath: os.Getenv("CASSANDRA_CA_FILE"), EnableHostVerification: true}
	cluster.Consistency = gocql.LocalQuorum
	// Straight to a replica of the key.
	cluster.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.DCAwareRoundRobinPolicy("datacenter1"))
	return cluster.CreateSession()
}

func read(session *gocql.Session, carrier string, now time.Time) (string, error) {
	var mean *float64 // nil: null
	var event int64   // microseconds since 1970-01-01 UTC
	err := session.Query(query, carrier).Idempotent(true).Scan(&mean, &event)
	switch {
	case errors.Is(err, gocql.ErrNotFound):
		return "NOT_FOUND", nil
	case err != nil:
		return "", err
	case now.Sub(time.UnixMicro(event)) > lookback:
		return "EXPIRED", nil
	case mean == nil:
		return "NULL", nil
	}
	return fmt.Sprintf("PRESENT %.2f", *mean), nil
}

func main() {
	session, err := connect()
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	carriers, now := os.Args[1:], time.Now()
	answers, failures := make([]string, len(carriers)), make([]error, len(carriers))
	var reads sync.WaitGroup
	for at, carrier := range carriers {
		reads.Add(1)
		go func() {
			defer reads.Done()
			answers[at], failures[at] = read(session, carrier, now)
		}()
	}
	reads.Wait()
	if err := errors.Join(failures...); err != nil {
		log.Fatal(err)
	}
	for at, carrier := range carriers {
		fmt.Println(carrier, answers[at])
	}
}
