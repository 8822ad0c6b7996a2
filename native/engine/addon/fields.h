// Header fields as nghttp2 takes them, and what is put into them for each connection.
#pragma once
#include <nghttp2/nghttp2.h>

#include <string>
#include <vector>

class Worker;

/** `pairs`: name, value, name, value. They outlive what is made of them. */
std::vector<nghttp2_nv> fields(const std::vector<std::string>& pairs);

/** Puts in what differs from connection to connection. @param source "ip:port" */
std::string fill(Worker& worker, const std::string& text, const std::string& source);
