package fakereg

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// auth is what the registry demands; the zero value is nothing.
type auth struct {
	scheme         string // "basic" or "bearer"
	user, password string
	realm, service string
	anonymousPull  bool
	expiresIn      int
	tokens         map[string][]string // scopes of each token
	n              int
}

// RequireBasic demands a name and a password.
func (s *Server) RequireBasic(user, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth = auth{scheme: "basic", user: user, password: password}
}

// RequireToken demands tokens of the token server at realm; "" is this
// server's own /token. anonymousPull lets everybody have tokens to pull.
// expiresIn is in seconds, 0 is not said.
func (s *Server) RequireToken(user, password, realm string, anonymousPull bool, expiresIn int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth = auth{scheme: "bearer", user: user, password: password, realm: realm, service: "fakereg",
		anonymousPull: anonymousPull, expiresIn: expiresIn, tokens: map[string][]string{}}
}

// ExpireTokens makes all tokens invalid.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.auth.tokens)
}

// allowed answers 401 itself.
func (s answers) allowed(w http.ResponseWriter, r *http.Request, repository string) bool {
	s.mu.Lock()
	a := s.auth
	scopes, known := a.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	s.mu.Unlock()
	action := "pull"
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		action = "push"
	}
	switch a.scheme {
	case "":
		return true
	case "basic":
		if user, password, ok := r.BasicAuth(); ok && user == a.user && password == a.password {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="fakereg"`)
	default:
		if known && (repository == "" || slices.ContainsFunc(scopes, func(s string) bool { return grants(s, repository, action) })) {
			return true
		}
		realm := a.realm
		if realm == "" {
			scheme := "http"
			if r.TLS != nil {
				scheme = "https"
			}
			realm = scheme + "://" + r.Host + "/token"
		}
		challenge := fmt.Sprintf(`Bearer realm=%q,service=%q`, realm, a.service)
		if repository != "" {
			challenge += fmt.Sprintf(`,scope="repository:%s:%s"`, repository, action)
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	return false
}

// grants reads "repository:NAME:a,b".
func grants(scope, repository, action string) bool {
	rest, ok := strings.CutPrefix(scope, "repository:"+repository+":")
	return ok && slices.Contains(strings.Split(rest, ","), action)
}

// serveToken is the token server: GET with basic authentication or POST with
// an identity token, which GET with offline_token hands out.
func (s answers) serveToken(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.auth
	user, password, given := r.BasicAuth()
	known := given && user == a.user && password == a.password
	if r.Method == http.MethodPost {
		given = true
		known = r.PostForm.Get("grant_type") == "refresh_token" && r.PostForm.Get("refresh_token") == "identity-"+a.user
	}
	if given && !known {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	var scopes []string
	for _, scope := range r.Form["scope"] {
		for _, one := range strings.Fields(scope) {
			i := strings.LastIndexByte(one, ':')
			if known {
				scopes = append(scopes, one)
			} else if a.anonymousPull && i > 0 && slices.Contains(strings.Split(one[i+1:], ","), "pull") {
				scopes = append(scopes, one[:i]+":pull")
			}
		}
	}
	a.n++
	token := fmt.Sprintf("token-%d", a.n)
	if a.tokens != nil {
		a.tokens[token] = scopes
	}
	out := map[string]any{"token": token}
	if a.expiresIn > 0 {
		out["expires_in"] = a.expiresIn
	}
	if known && r.Form.Get("offline_token") == "true" {
		out["refresh_token"] = "identity-" + a.user
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}
